"""`universal-diffusion view`: write the page of a result and show it."""

import sys
import webbrowser
from argparse import Namespace

from universal_diffusion.segmentation.inputs.ct_input import read_ct
from universal_diffusion.viewer.page import write_page


def view(arguments: Namespace) -> None:
    """Write the page, print where it is, and open it unless that is not wanted."""
    ct = read_ct(arguments.ct, arguments.series) if arguments.ct else None
    page = write_page(arguments.result, ct, arguments.full)
    sys.stdout.reconfigure(errors="surrogateescape")  # a folder's name need not be UTF-8
    print(page)
    if not arguments.no_browser:
        webbrowser.open(page.resolve().as_uri())
