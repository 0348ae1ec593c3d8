"""Detectors: what they find, and that the boxes of a model are those of its own arithmetic."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from descry.errors import DataError, ModelMissing, ModelRefused, UsageError
from descry.footage import Background, BoxTable, Frame, TransformersDetector
from descry.footage.detecting import detector_of

from .making import TALL, WIDE, put, room, walks

pytest.importorskip("cv2")


def frames_of(images) -> list[Frame]:
    return [Frame(i, i / 10, Image.fromarray(image)) for i, image in enumerate(images)]


def overlap(a, b) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, wide) * max(0.0, high)
    areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return shared / (areas - shared)


def test_background_finds_who_walks_and_nothing_in_an_empty_scene():
    images = walks(8, 10, [(1, 5, 0)])
    detector = Background()
    detector.learn(images[::4])
    for i, boxes in enumerate(detector.detect(frames_of(images))):
        share = (i / 10 - 1) / 5
        x = round(-WIDE + share * (images[0].shape[1] + WIDE))
        if not 0 <= share <= 1:
            assert not len(boxes.scores)
        elif 0 <= x <= images[0].shape[1] - WIDE:
            assert len(boxes.scores) == 1
            assert overlap(boxes.corners[0], (x, 110, x + WIDE, 110 + TALL)) > 0.8
            assert boxes.scores[0] >= detector.sure


def test_somebody_who_stands_most_of_the_time_is_no_part_of_the_scene():
    """In two thirds of the frames the median holds the person; the edges tell."""
    images = [room() for _ in range(30)]
    for image in images[5:25]:
        put(image, 150, 110, (200, 30, 30))
    detector = Background()
    detector.learn(images)
    found = detector.detect(frames_of(images))
    assert [len(b.scores) for b in found] == [0] * 5 + [1] * 20 + [0] * 5
    assert overlap(found[10].corners[0], (150, 110, 150 + WIDE, 110 + TALL)) > 0.8


def test_a_change_of_light_is_nobody():
    images = [room() for _ in range(20)]
    detector = Background()
    detector.learn(images)
    dark = (room() * 0.75).astype(np.uint8)
    assert [len(b.scores) for b in detector.detect(frames_of([dark]))] == [0]
    put(dark, 150, 110, (30, 30, 180))
    assert [len(b.scores) for b in detector.detect(frames_of([dark]))] == [1]


def test_a_moving_camera_is_said():
    rng = np.random.default_rng(0)
    wide = np.kron(rng.integers(0, 255, (12, 60, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    images = [wide[:, 37 * i : 37 * i + 320] for i in range(20)]
    detector = Background()
    detector.learn(images)
    assert not any(len(b.scores) for b in detector.detect(frames_of(images)))
    assert "fixed camera" in detector.notes()[0]


def test_what_has_no_shape_of_a_person_is_left_out():
    image = room()
    image[100:140, 100:300] = (200, 30, 30)  # a van
    image[200:220, 20:28] = (200, 30, 30)  # a cat
    detector = Background()
    detector.learn([room()] * 5)
    assert not len(detector.detect(frames_of([image]))[0].scores)


# --------------------------------------------------------------------------------------------------- models


def tiny(kind: str, labels=("cat", "Person", "dog")):
    """A random checkpoint of a few thousand weights, and its processor."""
    import transformers as t

    common = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    torch.manual_seed(0)
    if kind == "yolos":
        config = t.YolosConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[64, 96],
            patch_size=16, num_detection_tokens=12, use_mid_position_embeddings=False, **common,
        )  # fmt: skip
        return t.YolosForObjectDetection(config), t.YolosImageProcessorPil(size={"height": 64, "width": 96})
    backbone = {
        "embedding_size": 8, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "layer_type": "basic",
        "out_features": ["stage2", "stage3", "stage4"],
    }  # fmt: skip
    small = {
        "encoder_hidden_dim": 16, "encoder_in_channels": [8, 8, 8], "feat_strides": [8, 16, 32], "encoder_layers": 1,
        "encoder_ffn_dim": 16, "encoder_attention_heads": 2, "d_model": 16, "num_queries": 12, "decoder_layers": 1,
        "decoder_in_channels": [16, 16, 16], "decoder_ffn_dim": 16, "decoder_attention_heads": 2,
        "hidden_expansion": 0.5, "decoder_n_points": 2, "num_denoising": 0,
    }  # fmt: skip
    if kind == "rt_detr":
        config = t.RTDetrConfig(backbone_config=t.RTDetrResNetConfig(**backbone), **small, **common)
        return t.RTDetrForObjectDetection(config), t.RTDetrImageProcessorPil(size={"height": 64, "width": 64})
    config = t.DetrConfig(
        backbone_config=t.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic",
            out_features=["stage4"],
        ),
        use_timm_backbone=False, backbone=None, d_model=16, num_queries=12, encoder_layers=1, decoder_layers=1,
        encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2, **common,
    )  # fmt: skip
    return t.DetrForObjectDetection(config), t.DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})


def saved(folder, kind: str, **options) -> str:
    model, processor = tiny(kind, **options)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


CLASSES = {"rt_detr": "class_embed.0", "detr": "class_labels_classifier", "yolos": "class_labels_classifier.layers.2"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["rt_detr", "detr", "yolos"])
def test_boxes_of_a_model_are_those_of_its_own_arithmetic(tmp_path, kind):
    """Centre and size as shares of the picture → corners in pixels; sigmoid (RT-DETR) or softmax without the class
    "nothing" (DETR, YOLOS); only people; as the library's post-processing has it."""
    detector = TransformersDetector(saved(tmp_path, kind), device="cpu")
    detector.LOW = 0.01  # random weights are sure of nothing
    with torch.no_grad():
        next(m for n, m in detector.model.named_modules() if n.endswith(CLASSES[kind])).bias[1] += 1.0
    images = [np.asarray(Image.fromarray(i).resize((96, 64))) for i in walks(0.3, 10, [(0, 0.3, 0)])]
    frames = frames_of(images)
    found = detector.detect(frames)
    inputs = detector.processor(images=images, return_tensors="pt")
    with torch.inference_mode():
        raw = detector.model(**inputs)
    if kind == "rt_detr":
        scores, labels = raw.logits.sigmoid(), None
    else:
        scores, labels = raw.logits.softmax(-1)[..., :-1].max(-1)
    seen = 0
    for k, boxes in enumerate(found):
        if labels is None:
            flat, at = scores[k].flatten().topk(12)
            value, label, query = flat, at % 3, at // 3
        else:
            value, label, query = scores[k], labels[k], torch.arange(12)
        keep = (value > detector.LOW) & (label == 1)
        x, y, w, h = raw.pred_boxes[k][query[keep]].unbind(-1)
        corners = torch.stack([(x - w / 2) * 96, (y - h / 2) * 64, (x + w / 2) * 96, (y + h / 2) * 64], -1)
        corners[:, 0::2], corners[:, 1::2] = corners[:, 0::2].clip(0, 96), corners[:, 1::2].clip(0, 64)
        assert torch.allclose(torch.tensor(boxes.corners), corners, atol=1e-3)
        assert torch.allclose(torch.tensor(boxes.scores), value[keep], atol=1e-5)
        seen += len(boxes.scores)
    assert seen


@pytest.mark.filterwarnings("ignore")
def test_a_batch_gives_what_single_frames_give_and_bf16_runs(tmp_path):
    folder = saved(tmp_path, "rt_detr")
    detector = TransformersDetector(folder, device="cpu")
    frames = frames_of([np.asarray(Image.fromarray(i).resize((96, 64))) for i in walks(0.4, 10, [(0, 0.4, 0)])])
    together, alone = detector.detect(frames), [detector.detect([f])[0] for f in frames]
    for a, b in zip(together, alone, strict=True):
        assert np.allclose(a.scores, b.scores, atol=1e-5)
        assert np.allclose(a.corners, b.corners, atol=1e-2)
    assert len(TransformersDetector(folder, device="cpu", precision="bf16").detect(frames)) == 4


@pytest.mark.filterwarnings("ignore")
def test_models_that_cannot_serve_are_refused_with_the_reason(tmp_path):
    with pytest.raises(ModelMissing, match="--allow-download"):
        detector_of(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelRefused, match="not an object detection model"):
        detector_of(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="no class for people; its classes: cat, dog"):
        detector_of(saved(tmp_path / "pets", "yolos", labels=("cat", "dog")))


# --------------------------------------------------------------------------------------------------- tables


def test_boxes_of_a_mot_file(tmp_path):
    path = tmp_path / "boxes.txt"
    path.write_text("1,-1,10,20,30,60,0.9,-1,-1,-1\n1,-1,50,20,30,60,0.8\n3,-1,12,20,30,60,0.7\n\n")
    table = BoxTable.read(str(path))
    found = table.detect(frames_of([room()] * 3))
    assert [b.corners.tolist() for b in found] == [[[10, 20, 40, 80], [50, 20, 80, 80]], [], [[12, 20, 42, 80]]]
    assert found[0].scores.tolist() == pytest.approx([0.9, 0.8])
    assert found[0].tracks is None
    assert table.notes() == []
    path.write_text("1,7,10,20,30,60,0.9\n2,7,12,20,30,60,0.9\n9,7,12,20,30,60,0.9\n")
    table = BoxTable.read(str(path))
    assert table.detect(frames_of([room()]))[0].tracks.tolist() == [7]
    assert "2 of 3 frames with boxes were not looked at" in table.notes()[0]


@pytest.mark.parametrize(
    "text", ["1,2,3\n", "0,-1,1,1,5,5,1\n", "1,-1,1,1,-5,5,1\n", "1,-1,a,1,5,5,1\n", "", "1,-1,nan,1,5,5,1\n"]
)
def test_a_table_that_is_none_says_where(tmp_path, text):
    (tmp_path / "boxes.txt").write_text(text)
    with pytest.raises(DataError, match=r"line 1|no boxes"):
        BoxTable.read(str(tmp_path / "boxes.txt"))


def test_boxes_of_a_coco_file(tmp_path):
    data = {
        "images": [{"id": 5, "file_name": "frame_000002.jpg"}, {"id": 6, "file_name": "frame_000000.jpg"}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}],
        "annotations": [
            {"image_id": 5, "category_id": 1, "bbox": [10, 20, 30, 60], "score": 0.6},
            {"image_id": 6, "category_id": 2, "bbox": [1, 2, 3, 4]},
            {"image_id": 6, "category_id": 1, "bbox": [11, 20, 30, 60]},
        ],
    }
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(data))
    found = BoxTable.read(str(path)).detect(frames_of([room()] * 3))
    assert [b.corners.tolist() for b in found] == [[[11, 20, 41, 80]], [], [[10, 20, 40, 80]]]
    named = BoxTable.read(str(path), ["frame_000000.jpg", "frame_000002.jpg"]).detect(frames_of([room()] * 2))
    assert named[1].corners.tolist() == [[10, 20, 40, 80]]
    path.write_text('{"images": 3}')
    with pytest.raises(DataError, match="not a COCO file"):
        BoxTable.read(str(path))
