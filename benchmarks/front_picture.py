"""Draw the picture on top of README.md: what a trained detector finds, beside what its attention looks at.

    make demo  # the picture in the repository is of a run with 500 steps, with boxes of score 0.7 or more
    python benchmarks/front_picture.py work_dirs/demo 1000015 backbone.layer1.0.residual

The folder is that of a demo, the number the id of an image of its evaluation, the name that of a site.
"""

import argparse
import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from mmengine.config import Config
from mmengine.fileio import load
from PIL import Image

from mmattn.files import write_file
from mmattn.visualization import ImageInspection, Inspector
from mmattn.visualization.drawing import COLOURS
from mmattn.visualization.overlays import detection_label, draw_overlay

PICTURE = Path(__file__).resolve().parents[1] / 'docs/images/front.webp'
PANEL, GAP, TITLE, DPI = 5.6, 0.2, 0.6, 100
# Legible on a page of either colour scheme, and on a phone at half the size.
BACKGROUND, TEXT = '#0d1117', '#f0f6fc'


def inspect(work_dir: Path, image_id: int) -> ImageInspection:
    """Return what the demo's detector does on an image of its evaluation."""
    (config,) = work_dir.glob('*.py')
    data = Config.fromfile(config).val_dataloader.dataset
    entries = load(Path(data.data_root) / data.ann_file)['images']
    (name,) = (entry['file_name'] for entry in entries if entry['id'] == image_id)
    checkpoint = (work_dir / 'last_checkpoint').read_text().strip()
    inspector = Inspector(str(config), checkpoint, score_thr=0.7)
    return inspector.inspect(str(Path(data.data_root) / data.data_prefix.img / name), name)


def draw(inspection: ImageInspection, site_name: str) -> Image.Image:
    """Return the picture: boxes on the left, gates of the positions on the right."""
    (site,) = (site for site in inspection.overlaid_sites if site.name == site_name)
    size = 2 * PANEL + GAP, PANEL + TITLE
    figure = Figure(figsize=size, dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    panels = [
        figure.add_axes([left / size[0], 0, PANEL / size[0], PANEL / size[1]]) for left in (0, PANEL + GAP)
    ]
    low, high = float(site.overlay.min()), float(site.overlay.max())
    titles = ('what it detects', f'what {site.block} lets pass: x{low:.2f} to x{high:.2f}')
    for axes, shown, title in zip(panels, (inspection.image, draw_overlay(inspection, site)), titles):
        axes.imshow(shown)
        axes.set_axis_off()
        axes.set_title(title, color=TEXT, fontsize=20, pad=8)
    for number, (x1, y1, x2, y2) in enumerate(inspection.detections.bboxes.tolist()):
        colour = COLOURS[int(inspection.detections.labels[number]) % len(COLOURS)]
        for axes, edge in zip(panels, (colour, 'white')):
            axes.add_patch(_box(x1, y1, x2, y2, edge))
        height, width = inspection.image.shape[:2]
        left, above = x1 < width / 2, y1 > height / 12
        panels[0].text(
            max(x1, 2) if left else min(x2, width - 2),
            y1 if above else y1 + 2,
            detection_label(inspection, number),
            color='white',
            fontsize=16,
            ha='left' if left else 'right',
            va='bottom' if above else 'top',
            bbox=dict(facecolor=colour, edgecolor='none', pad=2),
            clip_on=True,
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', facecolor=BACKGROUND)
    return Image.open(buffer).convert('RGB')


def _box(x1: float, y1: float, x2: float, y2: float, edge: str):
    return Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=edge, linewidth=3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', type=Path, help='folder of a demo')
    parser.add_argument('image_id', type=int, help='id of an image of the evaluation')
    parser.add_argument('site', help='site whose gates are shown')
    parser.add_argument('--out', type=Path, default=PICTURE, help='file to write (default: %(default)s)')
    args = parser.parse_args()
    image = draw(inspect(args.work_dir, args.image_id), args.site)
    write_file(args.out, lambda file: image.save(file, format='WEBP', quality=85))


if __name__ == '__main__':
    main()
