"""Choose images and name their output files."""

import pytest

from mmattn.visualization.image_files import evenly_spread, images_at, output_names


def test_output_names_are_unique_and_images_evenly_spread(tmp_path):
    assert output_names(['a/x.jpg', 'b/x.png', 'x_2.jpg', 'y.jpg']) == ['x', 'x_2', 'x_2_2', 'y']
    assert (
        evenly_spread(list(range(10)), 3) == [0, 3, 6]
        and evenly_spread([1, 2], 0) == [1, 2]
        and evenly_spread([], 3) == []
    )
    with pytest.raises(ValueError, match='no images in'):
        images_at(str(tmp_path))
    with pytest.raises(FileNotFoundError, match='no image or folder'):
        images_at(str(tmp_path / 'none'))
    (tmp_path / 'B.JPG').touch()
    (tmp_path / 'a.txt').touch()
    assert images_at(str(tmp_path)) == [str(tmp_path / 'B.JPG')]
