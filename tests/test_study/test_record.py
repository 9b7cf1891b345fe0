import hashlib
import os

from mmengine.config import Config

from mmattn.study.record import config_hash, file_hash, read_record, state_of, write_record


def test_a_run_whose_process_is_gone_was_interrupted(tmp_path):
    assert read_record(tmp_path) == {} and state_of(tmp_path) == 'waiting'
    for status, state in dict(
        waiting='waiting', running='interrupted', failed='failed', finished='finished'
    ).items():
        write_record(tmp_path, dict(status=status))
        assert state_of(tmp_path) == state
    assert os.listdir(tmp_path) == ['run.json']


def test_hashes_tell_what_changed(tmp_path):
    one, same, other = (Config(dict(model=dict(type='A', sizes=sizes))) for sizes in ((1, 2), (1, 2), (1, 3)))
    assert config_hash(one) == config_hash(same) != config_hash(other)
    (tmp_path / 'a').write_bytes(b'b' * 3_000_000)
    assert file_hash(tmp_path / 'a') == hashlib.sha256(b'b' * 3_000_000).hexdigest()
