"""Networks that learned nothing."""

import torch
from torch import nn

from pure_cli.core.controls import fit_norms, initialise_again, shuffle_weights


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4)).eval()


def test_shuffled_weights_are_the_same_values_elsewhere_and_the_same_for_the_same_seed():
    before, one, same, other = network(), network(), network(), network()
    shuffle_weights(one, 0)
    shuffle_weights(same, 0)
    shuffle_weights(other, 1)
    for name, weight in before.named_parameters():
        shuffled = one.get_parameter(name)
        assert torch.equal(shuffled.flatten().sort().values, weight.flatten().sort().values)
        assert torch.equal(shuffled, weight) == (weight.ndim == 1)
        assert torch.equal(shuffled, same.get_parameter(name))
    images = torch.randn(2, 3, 9, 9)
    assert not torch.allclose(one(images), before(images), atol=1e-2)
    assert not torch.allclose(one(images), other(images), atol=1e-2)


def test_norms_are_fitted_to_what_comes_in():
    model, batches = network(), [torch.randn(8, 3, 9, 9) * 5 + 2 for _ in range(3)]
    momentum = model[1].momentum
    assert fit_norms(model, batches) == 2
    found = torch.stack([model[0](batch).mean(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
    spread = torch.stack([model[0](batch).var(dim=(0, 2, 3)) for batch in batches]).mean(dim=0)
    torch.testing.assert_close(model[1].running_mean, found)
    torch.testing.assert_close(model[1].running_var, spread)
    assert not any(module.training for module in model.modules()) and model[1].momentum == momentum


def test_without_norms_no_batch_is_asked_for():
    assert fit_norms(nn.Linear(2, 2), iter(lambda: 1 / 0, None)) == 0


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(3))
        self.linear = nn.Linear(3, 2)


def test_what_modules_draw_is_drawn_again_and_the_rest_is_told():
    model, again = Own(), Own()
    before = model.linear.weight.clone()
    state = torch.random.get_rng_state()
    assert initialise_again(model, 5) == ["token"]
    initialise_again(again, 5)
    assert torch.equal(model.linear.weight, again.linear.weight) and not torch.equal(model.linear.weight, before)
    assert torch.equal(torch.random.get_rng_state(), state)
