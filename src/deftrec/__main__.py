"""`python -m deftrec`, which `accelerate launch -m deftrec` starts in several processes."""

import sys

from deftrec.cli import main

if __name__ == "__main__":
    sys.exit(main())
