"""MLServer: a runtime of ours, named by the settings that `mlserver start FOLDER` finds in the folder."""

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.serve_work import Work, work


class Answering(MLModel):  # type: ignore[misc]
    """Bodies as strings in, answers as strings out."""

    work: Work

    async def load(self) -> bool:
        """Load the model in the worker."""
        self.work = work()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """A batch that MLServer has put together."""
        texts = StringCodec.decode_input(payload.inputs[0])
        answers = self.work.answer_texts(texts)
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("answers", answers)])
