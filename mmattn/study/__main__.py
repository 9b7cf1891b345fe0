"""Train one run of a study: ``python -m mmattn.study FOLDER``, the command of each run's process."""

from mmattn.engine.cli import Parser, run_tool
from mmattn.engine.mistakes import user_input
from mmattn.study.lock import Locked
from mmattn.study.worker import train_run


def main() -> None:
    parser = Parser(prog='python -m mmattn.study', description=__doc__)
    parser.add_argument('folder', help='folder of the run, with config.py and run.json')
    folder = parser.parse_args().folder
    with user_input(errors=(FileNotFoundError, Locked)):
        train_run(folder)


if __name__ == '__main__':
    run_tool(main)
