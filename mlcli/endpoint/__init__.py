"""The MLflow server inside a job: what the command logs goes straight into the run folder.

It travels with ``agent.py``, so it imports nothing of mlcli and needs only Python >= 3.8. The agent listens on a port of the
loopback; at the first connection it starts ``server.main`` in a process of its own, which serves until the run is over. One
thread answers one request at a time, so that no record needs a lock.

``server``   sockets and the life of the process        ``wire``     HTTP/1.1
``calls``    routes, and the calls about experiments    ``run_calls``, ``model_calls``  those about runs and logged models
``fields``   values of a request, checked               ``errors``   what a client is told
``store``    experiments, runs and models of this job   ``run``      one run
``lines``    files of JSON lines                        ``filters``  MLflow's search language
``pages``    pages of what was found

Files of a run folder that are its own (a child run has the first six below ``children/ID/``, with ``run.json`` for
``mlflow.json``); each line is one JSON value, ASCII, written whole or not at all:

``metrics.jsonl``    ``["NAME", VALUE, STEP, TIME_MS]``, VALUE a number or "NaN", "Infinity", "-Infinity"; a fifth element holds
                     ``dataset_name``, ``dataset_digest``, ``model_id`` where the client gave them
``params.jsonl``     ``["KEY", "VALUE"]``
``tags.jsonl``       ``["KEY", "VALUE"]``, or null for a tag that was deleted; a key's last line counts
``inputs.jsonl``     ``{"dataset": {...}, "tags": [...]}`` or ``{"model_id": ...}``
``outputs.jsonl``    ``{"model_id": ..., "step": ...}``
``mlflow.json``      what the client said of the run: status, name, times in ms; only an opinion, the agent knows better
``summary.json``     ``{"bytes": SIZE OF metrics.jsonl THAT IT COVERS, "metrics": {NAME: {"last", "step", "time_ms", "min",
                     "max", "min_step", "max_step", "count"}}}``
``experiments.json`` experiments that the job has made
``models/ID/``       a logged model of MLflow 3: ``model.json``, ``artifacts/``
``artifacts/``       written by the client itself: it is told the folder's path
"""
