"""The older commands: attached folders, run configurations, submit-script."""
