"""Policies in a process of their own: what hangs, crashes or eats memory there costs one call."""

from .client import IsolatedPolicy as IsolatedPolicy
