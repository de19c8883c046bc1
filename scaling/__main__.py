"""`python -m scaling`: the command line, for where the script `scaling` is not on the path."""

from scaling.cli.main import main

if __name__ == "__main__":
    main()
