"""normlab theory"""

from normlab import api
from normlab.cli.options import ConfigDir, Format, Overrides, examples
from normlab.cli.output import print_answer

EXAMPLES = examples(
    "normlab theory model.activation=tanh model.init=lecun_normal model.init_gain=1.2",
    "normlab theory model.activation=relu model.depth=50 --format json",
)


def theory(
    overrides: Overrides = None, output_format: Format = "rich", config_dir: ConfigDir = None
) -> None:
    """Predict an MLP's gradient at initialization by mean-field theory, without training.

    Settings are those of [cyan]normlab run model=mlp norm=none[/].
    """
    from normlab.show import theory_table

    facts = api.theory(*overrides or (), config_dir=config_dir)
    print_answer(output_format, facts.to_plain(), lambda: theory_table(facts))
