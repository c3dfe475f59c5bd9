"""Readers of what a job logged: the agent's files, printed lines, TensorBoard's event files, an MLflow server."""
