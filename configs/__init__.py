"""The packaged configs: `--config NAME.yaml` finds them from any folder."""
