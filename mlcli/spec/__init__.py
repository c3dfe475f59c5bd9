"""The job language: YAML text -> a frozen :class:`~mlcli.domain.job.CommandJob`. Pure: files are read through a FileReader."""
