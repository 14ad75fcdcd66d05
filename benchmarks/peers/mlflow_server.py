"""MLflow: `python mlflow_server.py FOLDER` keeps this file as a model, which `mlflow models serve -m FOLDER` serves."""

import sys
from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel

from benchmarks.serve_work import Work, work


class Answering(PythonModel):
    """Bodies as strings in, answers out. MLflow does not batch across requests."""

    work: Work

    def load_context(self, context: Any) -> None:
        """Load the model."""
        self.work = work()

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[str]:
        """One request's bodies to answers."""
        return self.work.answer_texts(list(model_input["body"]))


if __name__ == "__main__":
    mlflow.pyfunc.save_model(sys.argv[1], python_model=__file__, pip_requirements=["mlflow"])
else:
    mlflow.models.set_model(Answering())
