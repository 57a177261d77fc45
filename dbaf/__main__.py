"""`python -m dbaf`, see `dbaf.cli`."""

from dbaf.cli import main

if __name__ == "__main__":
    main()
