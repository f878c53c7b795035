"""Procedural faces: their traits (`traits.py`), the canvas (`canvas.py`), their shapes and their painter."""
