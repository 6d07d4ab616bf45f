"""Systematic update: when to act, what to do, and whether a candidate may take the champion's place."""

from retain.update.actions import Alert, Blend, Compress, Consolidate, Keep, Pace, Renew, Retrain, RollBack
from retain.update.gates import Better, NotWorse
from retain.update.guards import Canary, PerSlice, Unanimous
from retain.update.once import Bootstrap, Calibrated, Near, NoLarger, NoSlower, NotForgotten
from retain.update.recommended import recommended
from retain.update.rules import Judgement, Overseer, Rule
from retain.update.shift import KS, MMD, PSI, ClassifierTest, OnShift, Quality
from retain.update.triggers import All, Any, AtLeast, Every, Hindsight, OnDrift, Regret, WhenWorse
from retain.update.watched import Answers, Inputs, Labels, Losses

__all__ = [
    "KS",
    "MMD",
    "PSI",
    "Alert",
    "All",
    "Answers",
    "Any",
    "AtLeast",
    "Better",
    "Blend",
    "Bootstrap",
    "Calibrated",
    "Canary",
    "ClassifierTest",
    "Compress",
    "Consolidate",
    "Every",
    "Hindsight",
    "Inputs",
    "Judgement",
    "Keep",
    "Labels",
    "Losses",
    "Near",
    "NoLarger",
    "NoSlower",
    "NotForgotten",
    "NotWorse",
    "OnDrift",
    "OnShift",
    "Overseer",
    "Pace",
    "PerSlice",
    "Quality",
    "Regret",
    "Renew",
    "Retrain",
    "RollBack",
    "Rule",
    "Unanimous",
    "WhenWorse",
    "recommended",
]
