"""scikit-learn's callback API (1.9 and later): tasks fit > start > pass. A stub before."""

from __future__ import annotations

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stub: callbacks need scikit-learn 1.9."""

    def with_callbacks(method):
        return method


class FitTasks:
    """The task tree of one fit: the search, then the polished start with its passes.

    Parameters
    ----------
    estimator : estimator being fitted
    X, y : its validated data
    attributes : callable
        ``attributes(vector) -> dict`` of the fitted attributes at a packed parameter vector, so
        that a callback such as ``ScoringMonitor`` can predict at every pass.
    """

    def __init__(self, estimator, X, y, metadata, attributes):
        self.on = bool(getattr(estimator, "_skl_callbacks", None))
        self.common = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.attributes = attributes
        if self.on:
            self.root = estimator._init_callback_context(max_subtasks=2)
            self.root.call_on_fit_task_begin(**self.common)
            self.search = self.root.subcontext(task_name="search")
            self.search.call_on_fit_task_begin(**self.common)

    def searched(self, found):
        """The starts are done: open the task of the polished start."""
        if self.on:
            self.search.call_on_fit_task_end(**self.common)
            self.start = self.root.subcontext(task_name="start", max_subtasks=None)
            self.start.call_on_fit_task_begin(**self.common)

    def passed(self, state):
        """One pass is done; True if a callback asks to stop."""
        if not self.on:
            return False
        task = self.start.subcontext(task_name="pass")
        task.call_on_fit_task_begin(**self.common)
        attributes = self.attributes(state.anchor)
        return bool(task.call_on_fit_task_end(**self.common, reconstruction_attributes=attributes))

    def finished(self):
        if self.on:
            self.start.call_on_fit_task_end(**self.common)
            self.root.call_on_fit_task_end(**self.common)
