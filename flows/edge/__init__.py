"""The edge: a light model in a folder, served without database, MLflow or Prefect, which asks the cloud when unsure."""
