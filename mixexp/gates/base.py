"""What a gate is."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import nullcontext

import numpy as np

from .._part import Part
from ..scaling import design


class Gate(Part):
    """Splits the input space softly: pi_k(x), k = 1..K; see `Part` for parameters and batches."""

    joint = False  # True for a gate that also models x
    # True where `statistics` take ``log_prior`` (n, K): the gate's term of a row is then
    # log pi_k - log sum_c omega_c pi_c, given what is known before y is seen
    conditional = False
    closed_form = False  # True where a compiled M-step takes the shares of the responsibilities
    uses_columns = True  # False for a gate that ignores X
    needs_independent_columns = False  # True where collinear columns have no density
    batches = False  # True where `log_prob_sets` and `statistics_sets` take all sets at once
    has_nodes = False  # True for a tree of splits; see `TreeReading`
    own_design = False  # True where `design` is not that of standardised columns
    uses_distances = False  # True where columns that say nothing new would change the gate
    has_places = False  # True where `initial_for` puts the classes into the columns
    jumps = False  # True where the likelihood is not continuous in the gate's parameters
    learns_from_rows = False  # True where `for_columns` needs all rows, and not sums over them
    known = False  # True where nothing is estimated, so that the classes have names

    def for_rows(self, n_distinct):
        """The gate as it is fitted to so many rows: itself, unless a setting depends on them."""
        return self

    def for_columns(self, X, columns, weight, K):
        """The gate as it is fitted to the columns of these rows: itself unless it learns from them.

        Parameters
        ----------
        X : (n, p) array or scipy CSR, in the user's units
        columns : int array
            The gate's columns of X.
        weight : (n,) array or None
        K : int
        """
        return self

    def check_names(self, names):
        """Refuse columns of other names than the gate needs.

        Parameters
        ----------
        names : sequence of str or None
            The gate's columns, where the user's data name them.
        """

    def for_starts(self):
        """The gate with which searches begin: itself, unless another is easier to fit.

        Its parameters are of the same kind, unless the gate is `known`.
        """
        return self

    def approach(self):
        """Gates of continuous likelihoods, each nearer to this one, for one that `jumps`.

        Their parameters are those of this gate.
        """
        return []

    def remembering(self):
        """A context for many passes over the same rows, in which a costly design may be kept."""
        return nullcontext()

    def design(self, X, columns, scaling):
        """(n, q) what the other methods see of the rows X: standardised columns behind ones."""
        return design(X, columns, scaling)

    def separation(self, params, stats):
        """How sharply the classes are separated, for a gate whose slopes may grow without bound.

        Returns
        -------
        None, or (slopes, information) of the P pairs of classes: (P, q - 1) slopes of their log
        odds by the columns of the design, and the information (P, q, q) on them and the intercept.
        """
        return None

    def for_prior(self):
        """The gate as it is fitted where the likelihood is conditional on a prior of the experts.

        Raises
        ------
        ValueError
            If its statistics cannot be `conditional`.
        """
        if self.conditional:
            return self
        raise ValueError(
            f"prior_likelihood='conditional' is not for {type(self).__name__}. Take 'evidential', "
            "which every gate has, or gate='softmax'."
        )

    def for_truncation(self):
        """The gate as it is fitted where rows are in the data because their y lies in an interval.

        Raises
        ------
        ValueError
            If it is joint: the columns of rows that truncation hid are not known to it.
        """
        if self.joint:
            raise ValueError(
                f"{type(self).__name__} models the columns of X, and truncation selects rows also "
                "by their columns. Take gate='softmax' for truncated rows."
            )
        return self

    @abstractmethod
    def initial(self, K, q):
        """Neutral parameters: equal probabilities."""

    def initial_for(self, X, resp, weight):
        """Neutral parameters to be fitted to classes (n, K): `initial`, unless they have places."""
        return self.initial(resp.shape[1], X.shape[1])

    def numbering(self, params):
        """Order of the experts in which the gate is that of its settings; None as they are."""
        return None

    @abstractmethod
    def log_prob(self, params, X):
        """(n, K) log probabilities from a design X (n, q); each row log-sums to zero."""

    def log_joint(self, params, X):
        """(n, K) the gate's terms of the objective: log pi_k(x), or log p(x, k) of a joint gate."""
        return self.log_prob(params, X)

    @abstractmethod
    def statistics(self, params, X, resp, weight):
        """Additive statistics of a block; ``resp`` (n, K) is weighted already."""

    @abstractmethod
    def shift(self, stats, step):
        """The statistics' local quadratic model re-expressed at ``params + step``."""

    def row_scores(self, params, X, resp, weight):
        """(n, K) derivatives of the surrogate by the linear predictors, row by row.

        Working sets need them: a gate with sparse penalties on linear predictors has them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no linear predictors.")

    def row_derivatives(self, params, X):
        """(n, K, d) derivatives of log pi_k by the vector of `pack`, where `own_derivatives`."""
        raise NotImplementedError

    def surrogate_hessian(self, params, X, resp):
        """(d, d) second derivative of sum resp log pi, where `own_derivatives`."""
        raise NotImplementedError

    @abstractmethod
    def split(self, params, k, share):
        """Class k split in two of its probability's (1 - share) and share; the new one is last."""

    @abstractmethod
    def flatten(self, params, share):
        """The gate with its dependence on the columns reduced to a share; 1 leaves it alone."""

    def bounded(self, params):
        """(K,) bool (batched), or False: the class leans on a lower bound."""
        return np.False_

    def rows_needed(self, params) -> int:
        """Effective rows without which a class's own parameters are not determined."""
        return 0

    def in_user_units(self, params):
        """Parameters as they are shown, from those that refer to unstandardised columns."""
        return params

    def stages(self):
        """(gate, passes or None) on a way that ends in this gate; see `mixexp.em.annealing`."""
        return []

    def adopted(self, params):
        """Parameters of one of the `stages`, or of the gate that they belong to, as this one's."""
        return params

    @abstractmethod
    def display(self, params, names) -> dict:
        """Fitted attributes of estimators, from parameters on the user's scale."""

    @abstractmethod
    def table(self, params, names):
        """Title, row names and values (K, rows) of the gate's part of a summary."""
