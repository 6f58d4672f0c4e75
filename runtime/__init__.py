"""The resource-controller runtime: typed resources, the state that holds them, the engine that runs controllers."""
