"""One file per foreign program or bus. `process` is the only spawner, `systemd` the only user of pydbus."""
