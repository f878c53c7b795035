"""A model, a data source, a metric and a tool for morphospace."""
