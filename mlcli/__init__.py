"""mlcli: one job file, any compute.

The rooms of this house, from the ground up (docs/architecture.md has the whole plan):

1. ``domain``      frozen values: Job, Run, State, Plan, errors. No I/O.
2. ``ports``       the abstract base class of every room above; ``spec`` turns YAML into a Job; ``registry`` names the
                   implementations; ``agent`` is the in-job side, standard library only.
3. ``operations``  what can be asked for; ``backends``, ``transports``, ``schedulers``, ``environments``, ``stores``:
                   one implementation a file.
4. ``workspace``   the one composition root.
5. ``cli``         one file per noun that a person types; ``supervisor`` carries a submitted job.
"""

__version__ = "0.1.0"
