"""Lessons: chapters in Markdown become pages with formulas, diagrams, simulations and a knowledge check."""
