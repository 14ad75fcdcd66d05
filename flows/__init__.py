"""The driver: settings, MLflow, Prefect flows, the command line, and the wiring of the leaves."""
