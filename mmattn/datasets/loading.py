"""Load images, and name the one that cannot be."""

import mmcv
from mmcv.image.io import imread_flags, supported_backends
from mmcv.transforms import LoadImageFromFile as _LoadImageFromFile
from mmengine import fileio

from mmattn.datasets.image_header import read_header
from mmattn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageFromFile(_LoadImageFromFile):
    """mmcv's ``LoadImageFromFile``, but every failure names the file.

    mmcv passes on OpenCV's error for an empty file, which does not say which file it was, takes a JPEG that
    was cut off as it is, with the lost part grey, and an image of another size than its annotation says, as
    EXIF orientations make them. Here all of these are errors.

    Use it in training pipelines. In test pipelines keep mmcv's: MMDetection's inferencer looks for
    it by its name.

    Takes mmcv's options, but for ``ignore_empty`` and the deprecated ``file_client_args``.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.ignore_empty:
            raise ValueError(
                'ignore_empty=True was asked of mmattn.LoadImageFromFile, which stops at an image '
                "that cannot be read. To pass over it, use mmcv's: type='LoadImageFromFile'"
            )
        if type(self.color_type) is not int:  # a flag of OpenCV
            _require_one_of('color_type', self.color_type, imread_flags)
        _require_one_of('imdecode_backend', self.imdecode_backend, supported_backends)
        if self.file_client_args is not None:
            raise ValueError(
                'mmattn.LoadImageFromFile has no file_client_args: give backend_args, '
                'which took their place in mmcv 2'
            )

    def transform(self, results):
        path = results['img_path']
        try:
            data = fileio.get(path, backend_args=self.backend_args)
        except Exception as error:
            raise OSError(f"cannot read image '{path}': {error}") from error
        try:
            image = mmcv.imfrombytes(data, flag=self.color_type, backend=self.imdecode_backend)
        except Exception as error:
            raise self._broken(path, data, error) from error
        if image is None:
            raise self._broken(path, data, f'{self.imdecode_backend} cannot decode it')
        if is_cut_off(data):
            raise self._broken(path, data, 'the JPEG has no end: its last part is missing')
        self._check_size(path, data, image.shape, results)
        if self.to_float32:
            image = image.astype('float32')
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    @staticmethod
    def _check_size(path, data, shape, results):
        """Compare an image's size with the annotation file's, in whose pixels the boxes are."""
        found, expected = shape[:2], (results.get('height'), results.get('width'))
        if None in expected or found == tuple(expected):
            return
        header = read_header(data)
        turned = header and header.is_quarter_turned
        raise OSError(
            f"image '{path}' is {found[1]}x{found[0]} when loaded, but its annotation says "
            f'{expected[1]}x{expected[0]} (width x height)'
            + (f'; its EXIF orientation is {header.orientation}' if turned else '')
            + '. Its boxes would be misplaced: see docs/data.md; --drop-bad-images leaves such images out'
        )

    @staticmethod
    def _broken(path, data, why):
        return OSError(
            f"corrupt image '{path}' ({len(data)} bytes): {why}. Copy it again, or "
            'take it out of the annotation file'
        )


def _require_one_of(option, value, possible):
    if not isinstance(value, str) or value not in possible:
        raise ValueError(
            f'mmattn.LoadImageFromFile: {option}={value!r}; possible: ' + ', '.join(map(repr, possible))
        )


def is_cut_off(data):
    """Whether these bytes are a JPEG whose image data has no end marker."""
    if data[:2] != b'\xff\xd8':
        return False
    # Step over the header's segments, since an embedded preview has end markers of its own.
    at = 2
    while data[at : at + 1] == b'\xff':
        marker = data[at + 1 : at + 2]
        if marker == b'\xda':  # the image data starts
            return data.find(b'\xff\xd9', at) < 0
        at += 1 if marker == b'\xff' else 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
    return False
