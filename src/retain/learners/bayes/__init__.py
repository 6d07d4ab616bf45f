"""Bayesian learners in one pass: naive Bayes on numbers, on counts, and on what occurs."""

from retain.learners.bayes.counts import BernoulliNB, ComplementNB, MultinomialNB
from retain.learners.bayes.gaussian import GaussianNB

__all__ = ["BernoulliNB", "ComplementNB", "GaussianNB", "MultinomialNB"]
