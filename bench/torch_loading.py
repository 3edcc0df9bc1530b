"""The peers of loading: the transforms of the original system with Pillow and scikit-image and, where torchvision has them (0.15 on),
the same on tensors. Every image becomes a tensor of 3 channels (CMC, Lab) or 6 (MoCo, two crops)."""
import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np  # noqa: E402
import torch  # noqa: E402
from skimage import color  # noqa: E402
from torchvision import transforms as T  # noqa: E402
from torchvision.datasets import ImageFolder  # noqa: E402


class Lab:
    def __call__(self, img):
        return color.rgb2lab(np.asarray(img, np.uint8))


class Two:
    def __init__(self, t):
        self.t = t

    def __call__(self, img):
        return torch.cat([self.t(img), self.t(img)])


CMC = T.Compose([T.RandomResizedCrop(224, scale=(0.1, 1)), T.RandomHorizontalFlip(), Lab(), T.ToTensor(),
                 T.Normalize([50, 6.025, -6.6895], [50, 92.208, 101.1675])])
MOCO = Two(T.Compose([T.RandomResizedCrop(224, scale=(0.1, 1)), T.RandomGrayscale(0.2), T.ColorJitter(0.4, 0.4, 0.4, 0.4),
                      T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]))


try:
    from torchvision.io import decode_jpeg, read_file
    from torchvision.transforms import v2
except ImportError:  # before torchvision 0.15
    v2 = CMC_TENSORS = MOCO_TENSORS = None


def decoded(path):
    return decode_jpeg(read_file(path))


class TensorLab:
    """rgb2lab of scikit-image on a uint8 tensor [3,H,W]."""

    def __init__(self):
        self.curve = torch.tensor([v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (i / 255 for i in range(256))])
        rows = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
        self.to_xyz = torch.tensor([[v / w for v in row] for row, w in zip(rows, (0.95047, 1, 1.08883))])
        self.to_lab = torch.tensor([[0.0, 116, 0], [500, -500, 0], [0, 200, -200]])
        self.offset = torch.tensor([[16.0], [0], [0]])

    def __call__(self, x):
        xyz = self.to_xyz @ self.curve[x.reshape(3, -1).long()]
        f = torch.where(xyz > 0.008856, xyz.pow(1 / 3), 7.787 * xyz + 16 / 116)
        return (self.to_lab @ f - self.offset).reshape(x.shape)


if v2:
    CMC_TENSORS = v2.Compose([v2.RandomResizedCrop(224, scale=(0.1, 1)), v2.RandomHorizontalFlip(), TensorLab(),
                              v2.Normalize([50, 6.025, -6.6895], [50, 92.208, 101.1675])])
    MOCO_TENSORS = Two(v2.Compose([v2.RandomResizedCrop(224, scale=(0.1, 1)), v2.RandomGrayscale(0.2), v2.ColorJitter(0.4, 0.4, 0.4, 0.4),
                                   v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True),
                                   v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]))
    pixels = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 64, 64), np.uint8))
    off = np.abs(TensorLab()(pixels).numpy().transpose(1, 2, 0) - color.rgb2lab(pixels.numpy().transpose(1, 2, 0))).max()
    if not off < 1e-4:
        raise SystemExit(f"Lab on tensors differs from scikit-image's by {off}")


def loader(folder, flow, tensors, batch, workers, **options):
    """A DataLoader over folder/train, a hundred times as long, by forked workers, whose processor time is their parent's."""
    transform = {"cmc": (CMC, CMC_TENSORS), "moco": (MOCO, MOCO_TENSORS)}[flow][tensors]
    data = ImageFolder(os.path.join(folder, "train"), transform, **({"loader": decoded} if tensors else {}))
    data.samples = data.samples * 100
    return torch.utils.data.DataLoader(data, batch, shuffle=True, num_workers=workers, multiprocessing_context="fork", **options)
