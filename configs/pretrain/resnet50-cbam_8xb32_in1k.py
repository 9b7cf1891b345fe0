#   bash tools/dist_train.sh configs/pretrain/resnet50-cbam_8xb32_in1k.py 8
# 28.09 M parameters, 28.09 M of them trained; attention: 2,532,592 at 16 sites.
# Needs MMPretrain, and ImageNet in data/imagenet (--data-root names another folder).
_base_ = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'

model = dict(
    type='mmattn.WithAttention',
    detector='mmpretrain.ImageClassifier',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM'))],
)
