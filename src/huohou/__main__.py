"""``python -m huohou``."""

from huohou.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
