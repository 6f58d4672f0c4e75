"""config.FileController and its parts: from files on disk to the configuration in effect, trials and all."""
