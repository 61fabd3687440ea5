"""What a notebook shows of a job, wherever it runs."""

from html import escape
from typing import TYPE_CHECKING

from finetune_api.status import FinetuneJobStatus

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ["step", "loss", "score"]


class Shown:
    """A job with a name, a status and a report."""

    name: str

    def __repr__(self) -> str:
        """Return which one it is: lists of jobs show no reports."""
        return f"<FinetuneJob {self.name}>"

    @property
    def status(self) -> FinetuneJobStatus:
        """Return its status."""
        raise NotImplementedError

    def report(self) -> str:
        """Return its report as HTML."""
        raise NotImplementedError

    def curve(self) -> "pd.DataFrame":
        """Return loss and score over the steps, at most 32 of them."""
        import pandas as pd  # noqa: PLC0415 - only those who ask for a DataFrame need it

        return pd.DataFrame([one.model_dump(include=set(_COLUMNS)) for one in self.status.curve], columns=_COLUMNS)

    def _repr_html_(self) -> str:
        """Return what a notebook shows; in a frame of its own, as it has styles of its own."""
        return f'<iframe srcdoc="{escape(self.report())}" width="100%" height="600" style="border:0"></iframe>'
