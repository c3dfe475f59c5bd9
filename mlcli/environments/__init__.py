"""What a job runs in on this machine: one builder a file. The modules with an underscore are the builders' own."""
