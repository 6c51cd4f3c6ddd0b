"""The methods of `Workspace` that do a stage each. Written by ``make stubs``."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from pure_cli.stages.outcome import Outcome

class StageMethods:
    def do(
        self, stage: str, options: dict[str, Any], progress: bool | Callable[[int, int], None] = True
    ) -> Outcome: ...
    def collect(
        self,
        *,
        model: str | None = None,
        data: Path | str | None = None,
        weights: Path | str | None = None,
        layer: str | Sequence[str] | None = None,
        references: int = 100,
        limit: int | None = None,
        quantiles: int | Sequence[float] | None = None,
        directions: Path | str | None = None,
        directions_relu: bool = False,
        directions_part: Literal["decoder", "encoder"] | None = None,
        channels_axis: str | Sequence[str] | None = None,
        by: Literal["activation", "relevance"] = "activation",
        pool: Literal["max", "mean", "sum"] | None = None,
        rule: str | None = None,
        target: Literal["label", "predicted"] | None = None,
        resize: int | None = None,
        crop_size: int | None = None,
        interpolation: Literal["nearest", "bilinear", "bicubic"] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        on: str | None = None,
        parts: int | None = None,
        part: str | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        strict: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Find every neuron's reference images: those that excite it most.

        Where nothing is said of model and images, those of the workspace are meant, with the options that it has.

        Parameters
        ----------
        model : A preset (resnet50, …), torchvision:NAME, timm:NAME, hf:NAME or FILE.py:FUNCTION. [default: that of
            the workspace]
        data : Folder of images, with or without class folders; .txt/.csv list of paths; tar shards, Parquet, .npz,
            others: see docs/data.md; DIR#SPLIT is a split of it; hf:NAME:SPLIT is on the Hugging Face hub; or a URL
            of these (s3://, gs://, hf://, https://). [default: PURE_DATA of the environment with --model, else
            those of the workspace]
        weights : A .safetensors file or torch checkpoint, FILE#KEY for weights in it, hf:NAME/FILE of the Hugging
            Face hub; none: a seeded initialisation. [default: the model's own]
        layer : Where the neurons are, or a list of several. [default: the preset's, or the last stage]
        references : Reference images for each neuron. [default: 100]
        limit : Use N images only, spread evenly over the data.
        quantiles : Beside them, as many of each band of a neuron's activation: 5 makes five bands of equally many
            images, and 50,90,99 bands between these percentiles of the images that excite it; layer4#80-100 names
            one.
        directions : Directions over the channels of the layer as neurons: .npy, .npz, .csv, .safetensors or a torch
            checkpoint, hf:NAME/FILE of the Hugging Face hub; a row each, probes, or a sparse autoencoder's decoder.
        directions_relu : Negative activations of the directions count as zero.
        directions_part : Of a sparse autoencoder: decoder, what it adds up, or encoder, what its latents read.
            [default: decoder]
        channels_axis : Which axis of its output has a layer's channels, first or last behind the images: of the
            layers of --layer, or LAYER=AXIS of any, or a list of several. [default: what the layers in it work
            along]
        by : Rank images by the neuron's activation, or by its relevance for the model's output (RelMax). [default:
            activation]
        pool : Score over space: max, mean or sum. [default: max; of relevance: sum]
        rule : Of --by relevance, as of `pure attribute`. [default: epsilon-plus-flat; attn-lrp where there is
            attention]
        target : Of --by relevance: the output of the image's label, or the predicted one. [default: label, where
            labels number the model's outputs]
        resize : Length of the short side.
        crop_size : Side of the centre crop.
        interpolation : nearest, bilinear or bicubic.
        mean : On the scale 0 to 1.
        std : On the scale 0 to 1.
        on : Let workers do it: ray, those of the cluster that runs here, or else of one that is begun for it;
            ray://HOST:PORT or ray:HOST:PORT, those of the cluster there. Needs pure-cli[ray]. [default: this
            process]
        parts : Of --on: how many parts the workers share. [default: four for each worker]
        part : Do part I of N, as in 3/64, for `pure merge`, while other processes do the others; auto: the one that
            torchrun, mpirun, srun or a SLURM array says. [default: all of it]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        strict : Stop at the first image that cannot be read.
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def merge(
        self,
        *,
        stage: str | Sequence[str] | None = None,
        device: str = "auto",
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Put together what processes with --part have found: the same files, byte for byte, as one process makes.

        Parameters
        ----------
        stage : Whose parts: of collect, attribute, embed or assign, or a list of several. [default: all that are
            there]
        device : Where the network is opened that relevances, embeddings and shares are checked with: as of `pure
            attribute`. [default: auto]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def directions(
        self,
        how: Literal["pca", "nmf", "sae", "kmeans", "random"],
        *,
        components: int | None = None,
        layer: str | Sequence[str] | None = None,
        limit: int | None = None,
        sample: int = 8,
        active: int | None = None,
        sparsity: Literal["topk", "batch-topk"] = "topk",
        out: Path | str | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Take a layer's activations apart into directions, for `collect` to take as its ``directions``.

        Parameters
        ----------
        how : Principal components, a sparse autoencoder or random directions, of all positions of all images; non-
            negative components or centroids of k-means, of a sample of them.
        components : Directions to find. [default: 64, or one a channel where there are fewer; for sae four a
            channel]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        limit : Use N images only, spread evenly over the data.
        sample : For nmf and kmeans: positions drawn from each image. [default: 8]
        active : For sae: latents that are active at a position. [default: one for eight channels, 32 at most]
        sparsity : For sae: the K highest latents of each position are active, or as many on average over positions.
            [default: topk]
        out : A .safetensors file. [default: directions/LAYER/HOW-M.safetensors in the workspace]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["files"]`` has the file of each layer, ``details["explained"]`` its share,
            ``details["quality"]`` what more there is to say of a sparse autoencoder.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def calibrate(
        self,
        *,
        budget: float = 1.0,
        grouping: Path | str | None = None,
        units: str | Sequence[str] | None = None,
        embedder: str | None = None,
        embedder_weights: Path | str | None = None,
        layer: str | Sequence[str] | None = None,
        lower_layer: str | Sequence[str] | None = None,
        latex: bool = False,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Find the recipe that tells meanings apart on this network and data, by units whose meanings are known.

        Parameters
        ----------
        budget : 1: 90 units of each kind and number of meanings. The time goes with it: on 633 photos, `pure
            calibrate --budget 0.1` took three times as long as `pure collect`. [default: 1]
        grouping : A .csv file with a line class,group for each class: groups are the meanings. [default: the
            classes]
        units : Harder ones beside the usual, which alone choose a recipe, or a list of several. finer: parts of a
            class, by --embedder; alike: two classes of like colours and edges; tree: three, of which two are close;
            correlated: sums of two concepts; joined: sums of outputs, for the network's last layer. [default: none]
        embedder : A network held out, by which parts of classes and close classes are found for --units. [default:
            the layer itself says which classes are close]
        embedder_weights : Its local checkpoint. [default: downloaded]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        lower_layer : To be tried beside the paper's, or a list of several. [default: the parts of the layer]
        latex : Write the tables as LaTeX too.
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["recipes"]`` has the recipe of each layer, ``details["tables"]`` the
            measurements.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def attribute(
        self,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        recipe: Literal["paper", "hidden", "calibrated"] | None = None,
        lower_layer: str | Sequence[str] | None = None,
        rule: str = "gradient-x-input",
        position: Literal["all", "max"] = "all",
        store: Literal["float32", "float16"] = "float32",
        on: str | None = None,
        parts: int | None = None,
        part: str | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32", "bfloat16"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Attribute each neuron's activation to the channels of a lower layer, for all its references.

        Parameters
        ----------
        neurons : Which neurons: 201,2,341 or 0-63 or all; with its layer, layer4/201. [default: all that the stage
            before did]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        recipe : paper: as published; hidden: circuits through the hidden layer of the last block, by sqrt-l2;
            calibrated: lower layers, features and k that `pure calibrate` found best; other options win. [default:
            paper for a preset and without such a layer, else hidden]
        lower_layer : Whose channels get the relevance, or a list of several. A function goes by its module:
            layer4.1:relu. [default: the preset's, or the stage before]
        rule : How relevance is computed. [default: gradient-x-input]
        position : Where the neuron's activation counts: all, or max, its maximal position alone. [default: all]
        store : float32, or float16: relevances take half of the disk. [default: float32]
        on : Let workers do it: ray, those of the cluster that runs here, or else of one that is begun for it;
            ray://HOST:PORT or ray:HOST:PORT, those of the cluster there. Needs pure-cli[ray]. [default: this
            process]
        parts : Of --on: how many parts the workers share. [default: four for each worker]
        part : Do part I of N, as in 3/64, for `pure merge`, while other processes do the others; auto: the one that
            torchrun, mpirun, srun or a SLURM array says. [default: all of it]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; with other results, tf32: faster on NVIDIA's GPUs from Ampere
            on, or bfloat16: about 1.5 times as fast where the processor has it, for gradient-x-input. [default:
            float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def embed(
        self,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        embedder: str | Sequence[str] | None = None,
        embedder_layer: str | None = None,
        embedder_weights: Path | str | None = None,
        embedder_size: int | None = None,
        crop: Literal["crp", "activation", "none"] = "crp",
        on: str | None = None,
        parts: int | None = None,
        part: str | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Embed every reference image, cut to what the neuron saw of it, with a foundation model.

        Parameters
        ----------
        neurons : Which neurons: 201,2,341 or 0-63 or all; with its layer, layer4/201. [default: all that the stage
            before did]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        embedder : Foundation models, or what else gives embeddings, or a list of several. [default: clip]
        embedder_layer : Of the embedder, pooled over space.
        embedder_weights : A local checkpoint. [default: those of embeddings with this name, else downloaded]
        embedder_size : Side of its input. [default: its own; 224 for dinov2]
        crop : What to embed: crp, cut to what the neuron saw by its heatmap; activation, by its map (far cheaper);
            none, the whole image. [default: crp]
        on : Let workers do it: ray, those of the cluster that runs here, or else of one that is begun for it;
            ray://HOST:PORT or ray:HOST:PORT, those of the cluster there. Needs pure-cli[ray]. [default: this
            process]
        parts : Of --on: how many parts the workers share. [default: four for each worker]
        part : Do part I of N, as in 3/64, for `pure merge`, while other processes do the others; auto: the one that
            torchrun, mpirun, srun or a SLURM array says. [default: all of it]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def cluster(
        self,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        recipe: Literal["paper", "hidden", "calibrated"] | None = None,
        features: str | Sequence[str] | None = None,
        transform: str | None = None,
        k: int | str | Sequence[int | str] | None = None,
        sort: Literal["silhouette", "polysemantic", "neuron"] = "silhouette",
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Split each neuron into virtual neurons: clusters of its references by circuit.

        Parameters
        ----------
        neurons : Which neurons: 201,2,341 or 0-63 or all; with its layer, layer4/201. [default: all that the stage
            before did]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        recipe : paper: as published; hidden: circuits through the hidden layer of the last block, by sqrt-l2;
            calibrated: lower layers, features and k that `pure calibrate` found best; other options win. [default:
            paper for a preset and without such a layer, else hidden]
        features : usual, by the recipe; pure, pure@LOWER_LAYER (@A+B joins two), activation-max, activation-mean,
            lower-activation, or embeddings such as clip, or a list of several. [default: usual]
        transform : How relevances become features. [default: that of the recipe, or l1]
        k : Virtual neurons for each neuron, as in 2 or 2,3,4; auto: as many as the evidence says, perhaps one.
            [default: 2]
        sort : silhouette, the clearest split first; polysemantic, with --k auto; or neuron. [default: silhouette]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def choose(
        self,
        *,
        layer: str | Sequence[str] | None = None,
        features: str | None = None,
        k: int | str | None = None,
        recipe: Literal["paper", "hidden", "calibrated"] | None = None,
        force: bool = False,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Choose which clustering the addresses of a layer's virtual neurons mean; without options, tell which it is.

        Parameters
        ----------
        layer : Layers to work on, or a list of several. [default: all with virtual neurons]
        features : Of these features. [default: as it is]
        k : With this many virtual neurons, or auto. [default: as it is]
        recipe : paper: pure features, k = 2; hidden: pure-sqrt-l2 features, k = 2; calibrated: the features that
            `pure calibrate` found best, k = auto.
        force : Start anew where the file of choices cannot be read.
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["choices"]`` has features and k of each layer, ``details["tables"]`` what there
            is to choose from.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def render(
        self,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        recipe: Literal["paper", "hidden", "calibrated"] | None = None,
        features: str | Sequence[str] | None = None,
        transform: str | None = None,
        k: int | str | Sequence[int | str] | None = None,
        top: int | None = None,
        crop: Literal["crp", "activation", "none"] = "crp",
        images: int = 8,
        format: Literal["png", "pdf", "svg"] = "png",
        out: Path | str | None = None,
        circuit: str | Sequence[str] | None = None,
        depth: int | None = None,
        through: str | Sequence[str] | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Draw a figure for each neuron: its references on a map, and rows of what each virtual neuron responds to.

        Parameters
        ----------
        neurons : Which neurons: 201,2,341 or 0-63 or all, or virtual neurons, 201.2; with their layer,
            layer4/201.2. [default: all that the stage before did]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        recipe : paper: as published; hidden: circuits through the hidden layer of the last block, by sqrt-l2;
            calibrated: lower layers, features and k that `pure calibrate` found best; other options win. [default:
            paper for a preset and without such a layer, else hidden]
        features : Whose clusters to show, or a list of several. [default: those that addresses mean, see `pure
            choose`]
        transform : How relevances become features. [default: that of the recipe, or l1]
        k : Which clusterings to show, as in 2 or 2,3. [default: that of the addresses; with --features, the
            smallest that splits]
        top : The N most clearly split neurons of a layer only, of those of --neurons.
        crop : crp: cut and darken to what the neuron saw; activation: by its map; none. [default: crp]
        images : Images in a row, 8 at most. [default: 8]
        format : png, pdf or svg. [default: png]
        out : Folder of the figures. [default: figures in the workspace, of circuits circuits there]
        circuit : Draw the circuit of virtual neurons, as in layer4/201.2, as a graph over several lower layers,
            beside those of their siblings, and write it as JSON, or a list of several.
        depth : Lower layers of the graph. [default: 3, or as many as there are]
        through : The lower layers of the graph, the highest first, or a list of several. [default: each found as
            `pure attribute` finds one]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["files"]`` has the figures, ``details["circuits"]`` the JSON files of graphs.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def assign(
        self,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        data: Path | str | None = None,
        limit: int | None = None,
        quantiles: int = 10,
        per_quantile: int = 20,
        figures: int = 16,
        on: str | None = None,
        parts: int | None = None,
        part: str | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Find the share of each virtual neuron in images of any data set, over the whole range of activation.

        Parameters
        ----------
        neurons : Which neurons: 201,2,341 or 0-63 or all, or virtual neurons, 201.2; with their layer,
            layer4/201.2. [default: all that the stage before did]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        data : Images, as of `pure collect --data`. [default: those of the workspace]
        limit : Use N images only, spread evenly over the data.
        quantiles : Into how many parts, of as many images each, the range of activation is cut. [default: 10]
        per_quantile : Images of each neuron in each part whose circuits are computed, drawn at random; 0: all on
            which it fires. [default: 20]
        figures : Of how many neurons to draw a figure, the first ones. [default: 16]
        on : Let workers do it: ray, those of the cluster that runs here, or else of one that is begun for it;
            ray://HOST:PORT or ray:HOST:PORT, those of the cluster there. Needs pure-cli[ray]. [default: this
            process]
        parts : Of --on: how many parts the workers share. [default: four for each worker]
        part : Do part I of N, as in 3/64, for `pure merge`, while other processes do the others; auto: the one that
            torchrun, mpirun, srun or a SLURM array says. [default: all of it]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["tables"]`` has the share of each virtual neuron, ``details["files"]`` the
            figures.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def label(
        self,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        concepts: str | Path | Sequence[str | Path] | None = None,
        by: Literal["similarity", "soft-wpmi"] = "similarity",
        template: str | Sequence[str] | None = None,
        embedder: str | None = None,
        units: Literal["neurons", "virtual", "both"] | None = None,
        top: int = 5,
        sample: int = 5000,
        data: Path | str | None = None,
        shuffles: int = 200,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Say in words what neurons and virtual neurons respond to, and how far the words can be trusted.

        Parameters
        ----------
        neurons : Which neurons: 201,2,341 or 0-63 or all, or virtual neurons, 201.2; with their layer,
            layer4/201.2. [default: all that the stage before did]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        concepts : Words to choose from: imagenet, 1,000 classes; words, 20,068 nouns; classes, those of the data;
            or a .txt, .csv or .json file, or a list of several. [default: imagenet]
        by : similarity: cosine of words and the mean embedding of the references; soft-wpmi: images that excite the
            unit most, of all that are looked at, as CLIP-Dissect does. [default: similarity]
        template : Sentences that words are put into: photo, plain, simple, openai, or one with {}, or a list of
            several. [default: photo]
        embedder : Which embeddings. [default: the first whose network has a text tower]
        units : What gets labels. [default: both where there are virtual neurons]
        top : Labels of each unit that are kept. [default: 5]
        sample : Images, spread evenly, one half of which takes part in the choice while the other judges it; 0: no
            judging. [default: 5000]
        data : These images, as of `pure collect --data`. [default: of the workspace]
        shuffles : How often chance is tried. [default: 200]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["tables"]`` has the labels of each unit with their scores.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def search(
        self,
        text: str | Sequence[str] | None = None,
        *,
        image: str | Path | Sequence[str | Path] | None = None,
        count: int = 20,
        layer: str | Sequence[str] | None = None,
        units: Literal["neurons", "virtual", "both"] | None = None,
        embedder: str | None = None,
        template: str | Sequence[str] | None = None,
        sheet: bool = True,
        out: Path | str | None = None,
        device: str = "auto",
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Find the neurons and virtual neurons for something, said in words or shown in images.

        Parameters
        ----------
        text : What is searched for, in words.
        image : What is searched for, as a picture, or a list of several that have it in common.
        count : How many are shown. [default: 20]
        layer : Layers to work on, or a list of several. [default: all with embeddings that know words]
        units : What is looked at. [default: both where there are virtual neurons]
        embedder : Which embeddings. [default: the first whose network has a text tower]
        template : Sentences that the text is put into: photo, plain, simple, openai, or one with {}, or a list of
            several. [default: photo]
        sheet : Draw a contact sheet, which takes longer than the search. [default: on]
        out : The contact sheet: .png, .pdf or .svg. [default: one in search/]
        device : Where to run the embedder: auto, cpu, cuda, cuda:1 or mps. [default: auto, the fastest there is]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["tables"]`` has the units with their scores, ``details["files"]`` the contact
            sheet.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def evaluate(
        self,
        *,
        metric: str | Sequence[str],
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        features: str | Sequence[str] | None = None,
        k: int | str | Sequence[int | str] | None = None,
        judge: str | None = None,
        polysemantic: float | None = None,
        sample: int = 0,
        ablation: Literal["mean", "zero", "resampled"] = "mean",
        between: str | None = None,
        controls: str | Sequence[str] | None = None,
        embed: bool = False,
        latex: bool = False,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Measure how good the virtual neurons are, for all kinds of features and numbers of clusters.

        Parameters
        ----------
        metric : What to measure, or a list of several. clip, dinov2 or any embeddings there (separation, by these),
        neurons : Which neurons: 201,2,341 or 0-63 or all; with its layer, layer4/201. [default: all that the stage
            before did]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        features : Kinds to compare; repeat. [default: pure, activations, embeddings that have all of the neurons]
        k : Numbers of clusters. [default: 2,3,4,5]
        judge : Embeddings that judge, where a metric needs some. [default: clip, or the only ones there are]
        polysemantic : A table too for the neurons that the judge itself splits by more (inter − intra). [default:
            1.5 for clip, as in the paper; for other judges the same in their scale]
        sample : ms: over N images of the whole data set too. [default: 0]
        ablation : causal, faithfulness: lower channels that are cut out get their mean over references, zero, or
            the maps that they have for another image. [default: mean]
        between : outputs: two classes by name or number, as in 4,9; who decides between them, on their images.
        controls : Networks to hold the figures against, measured the same way and kept in the workspace: untrained,
            fresh weights; shuffled, the weights within layers; untrained:1 has another seed; repeat.
        embed : Make the embeddings that are missing on the way.
        latex : Write the tables as LaTeX too.
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["tables"]`` has the measurements, ``details["folders"]`` where they are as
            files.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def audit(
        self,
        classes: str | Sequence[str] | None = None,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        count: int = 20,
        sample: int = 400,
        data: Path | str | None = None,
        limit: int | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Find the virtual neurons that drive a class, those of them that fire on other classes, and odd references.

        Parameters
        ----------
        classes : Classes of the data, by name (by number where they have none), or all.
        neurons : Among which neurons: 201,2,341 or 0-63 or all, or virtual neurons, 201.2; with their layer,
            layer4/201.2. [default: all that the stage before did]
        layer : Layers to work on, or a list of several. [default: all that have virtual neurons of channels]
        count : Virtual neurons that are silenced, and as many at random. [default: 20]
        sample : Images of the class, spread evenly, one half of which chooses what is silenced while the other
            measures it. [default: 400]
        data : Images, as of `pure collect --data`. [default: those of the workspace]
        limit : Use N images only, spread evenly over the data.
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["tables"]`` has what drives each class and odd references,
            ``details["audits"]`` the same as data (`pure_cli.stages.auditing.cards.audits`).

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def effects(
        self,
        *,
        silence: str | Sequence[str] | None = None,
        scale: str | Sequence[str] | None = None,
        data: Path | str | None = None,
        limit: int | None = None,
        out: Path | str | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Compare what the network gives for images with what it gives when virtual neurons are silenced or scaled.

        Parameters
        ----------
        silence : What counts nothing: virtual neurons, as in layer4/201.2, what belongs to none of them, 201.none,
            or whole neurons, 201, or a list of several.
        scale : ADDRESS=FACTOR: what counts so much, or a list of several.
        data : Images, as of `pure collect --data`. [default: those of the workspace]
        limit : Use N images only, spread evenly over the data.
        out : A .csv file. [default: one in edit/ there, by what is edited]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["tables"]`` has the change of each output, ``details["file"]`` all of them.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def export(
        self,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        features: str | Sequence[str] | None = None,
        k: int | str | Sequence[int | str] | None = None,
        out: Path | str | None = None,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Write the images of each virtual neuron as a table, a row for each reference: CSV or Parquet.

        Parameters
        ----------
        neurons : Which neurons: 201,2,341 or 0-63 or all, or virtual neurons, 201.2; with their layer,
            layer4/201.2. [default: all that the stage before did]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        features : Whose clusters, or a list of several. [default: all that are there]
        k : Of which k, as in 2 or 2,3,auto. [default: all that are there]
        out : A .csv or .parquet file. [default: virtual-neurons.csv there]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["file"]`` has the file, ``details["columns"]`` its columns.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def compare(
        self,
        other: PathLike[str] | str,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        other_layer: str | Sequence[str] | None = None,
        units: Literal["neurons", "virtual", "both"] | None = None,
        by: str | Sequence[str] | None = None,
        embedder: str | Sequence[str] | None = None,
        correlation: Literal["pearson", "spearman"] = "pearson",
        sample: int | None = None,
        shuffles: int = 100,
        out: Path | str | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Match the neurons and virtual neurons of this workspace, A, with those of another, B, on the same images.

        Parameters
        ----------
        other : The other workspace, a folder or a URL.
        neurons : Which neurons of A, with their virtual neurons: 201,2,341 or layer4/201. [default: all]
        layer : Layers of A, or a list of several. [default: those that both have]
        other_layer : Layers of B: one for each of A's, or one for all. [default: those of A]
        units : What is matched. [default: both where both workspaces have virtual neurons, or neurons]
        by : What similarity is: images, the Jaccard index of the references; embeddings, the cosine of their means;
            activations, the correlation, or a list of several. [default: images, and what else is there]
        embedder : Which embeddings; of several, the first that both have. [default: any]
        correlation : Of activations. [default: pearson]
        sample : Run both networks on N of the common images, spread evenly, for --by activations. [default: what is
            stored of activations]
        shuffles : How often chance is tried. [default: 100]
        out : Folder of tables and figures. [default: one in compare/ of A]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["tables"]`` has means and counts, neurons that fall apart, and all matches;
            ``details["folders"]`` where these and figures are.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def freeze(
        self,
        *,
        budget: float = 1.0,
        grouping: Path | str | None = None,
        units: str | Sequence[str] | None = None,
        embedder: str | None = None,
        embedder_weights: Path | str | None = None,
        layer: str | None = None,
        out: Path | str | None = None,
        method_seeds: int = 5,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Write the units with known meanings of a layer as a file: a track of `pure benchmark`.

        The units are those of `pure calibrate`, with their references, and what they mean.

        Parameters
        ----------
        budget : 1: 90 units of each kind and number of meanings. The time goes with it: on 633 photos, `pure
            calibrate --budget 0.1` took three times as long as `pure collect`. [default: 1]
        grouping : A .csv file with a line class,group for each class: groups are the meanings. [default: the
            classes]
        units : Harder ones beside the usual, which alone choose a recipe, or a list of several. finer: parts of a
            class, by --embedder; alike: two classes of like colours and edges; tree: three, of which two are close;
            correlated: sums of two concepts; joined: sums of outputs, for the network's last layer. [default: none]
        embedder : A network held out, by which parts of classes and close classes are found for --units. [default:
            the layer itself says which classes are close]
        embedder_weights : Its local checkpoint. [default: downloaded]
        layer : Whose units. [default: the only one that was collected]
        out : A .npz file; its name is that of the track. [default: track.npz there]
        method_seeds : Seeds with which a method will be called. [default: 5]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["file"]`` has the file, ``details["version"]`` the letters that tell it from
            others.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """

    def atlas(
        self,
        *,
        neurons: int | str | Sequence[int | str] | None = None,
        layer: str | Sequence[str] | None = None,
        out: Path | str | None = None,
        size: Literal["small", "normal", "large"] = "normal",
        crop: Literal["crp", "activation", "none"] | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        deterministic: bool = True,
        precision: Literal["float32", "tf32"] = "float32",
        workers: int | None = None,
        force: bool = False,
        verify: bool = False,
        seed: int = 0,
        progress: bool | Callable[[int, int], None] = True,
    ) -> Outcome:
        """Build the atlas: a folder with a page on which one walks through layers, from the disk and without a network.

        Parameters
        ----------
        neurons : Which neurons: 201,2,341 or 0-63 or all; with its layer, layer4/201. [default: all that the stage
            before did]
        layer : Layers to work on, or a list of several. [default: all that the stage before did]
        out : Folder of the atlas; neurons are added to one that is there. [default: atlas in the workspace]
        size : Of the images: small, the first 8 of each virtual neuron at 36 px; normal, all at 64 px; large, at
            128 px. [default: normal]
        crop : What images are cut to: crp, what the neuron saw by its heatmap, as embed --crop crp finds it;
            activation, by its map (far cheaper); none, nothing. [default: as in the atlas that is there, or crp]
        device : Where to run the network: auto, cpu, cuda, cuda:1 or mps; collect and attribute take several:
            cuda:0,cuda:1. [default: auto, the fastest there is]
        batch_size : Images at once. [default: what suits device and image size]
        deterministic : The same bytes for the same settings on this machine. Off, a GPU may be faster; a CPU is the
            same. [default: on]
        precision : float32, the same on every device; or tf32: other results, faster on NVIDIA's GPUs from Ampere
            on. [default: float32]
        workers : Processes that decode images. [default: one a core]
        force : Compute anew what is up to date.
        verify : Read all images again: does any differ from the collected?
        seed : Seed of every random choice. [default: 0]
        progress : True shows a bar in a terminal or notebook, False nothing; a function is called with (done,
            total)

        Returns
        -------
        Outcome
            What was done. ``details["page"]`` is the page to open, ``details["bytes"]`` the size of the folder.

        Raises
        ------
        PureError
            What is asked for cannot be: a sentence says why, and what to do.
        """
