"""Judging models: functions on tensors, arrays and modules, with neither paths nor runs."""
