"""What the configuration files of an agent are."""

from nodespan.runtime.about import About

ABOUT = About(
    option_help={
        "--config": "the machine configuration, or a directory of .yaml files; may be repeated, all are merged; "
        "read again when it changes (without it: the configuration of the last `nodespan apply`)"
    }
)
