"""What a job runs in on this machine, and in images: one builder a file.

- ``current``: an interpreter that is there. ``venv``: Python and pip, by uv. ``conda``: conda packages, by rattler.
- ``far``: the three of them on another machine, through a transport.
- ``image``: an image as it is. ``dockerfile``: one that is built, from a Dockerfile, a conda file, or one on the other.

The modules with an underscore are the builders' own. Those of all: ``_cache`` (found by fingerprint, made once; ``_lock``),
``_shared`` and ``_pins`` (what other machines built or chose). What is asked for: ``_definition`` (a conda file's Python and
pip; ``_pip_lines``), ``_conda_definition``. Who makes it on the host: ``_uv`` (``_pip_settings``), ``_conda_install``
(``_rattler``); both are child processes (``_child``). Who makes images: ``_context`` and ``_dockerfile_text`` (a person's),
``_generated`` (a conda file's; what it copies: ``_staged``, ``_carried``, ``_host_python``), ``_build`` (the engine's steps),
``_published`` (shared images). The engine: ``_engine`` (images, registries), ``_contents`` (what is in an image). Elsewhere: ``_interpreter`` (also ``current``'s) by
``_far_interpreters``; ``_far_package``, ``_far_side``, ``_far_process``, ``_sent``, and what they say to each other, ``_wire``.
"""
