# Attention between the frames of a clip. For the data, see MMDetection's instructions for YouTube-VIS 2019.
#   bash tools/dist_train.sh configs/temporal_attention/mask2former_r50-temporal_8xb2-8e_youtubevis2019.py 8
# 45.41 M parameters, 45.36 M of them trained; attention: 1,401,600 at 9 sites.
_base_ = 'mmdet::mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019.py'

model = dict(
    type='mmattn.WithAttention',
    detector='Mask2FormerVideo',
    insert=[
        dict(
            at='backbone.layer[3-4].*.residual', block=dict(type='mmattn.TemporalAttention', start='identity')
        )
    ],
)
