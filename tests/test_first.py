def test_whole_way(cli, tmp_path, images, model_file, tiny_weights):
    w = tmp_path / "w"
    a = cli(
        "collect",
        "--model",
        f"{model_file}:tiny",
        "--weights",
        tiny_weights,
        "--data",
        images,
        "-n",
        20,
        "-w",
        w,
        "--workers",
        0,
    )
    assert a.code == 0, a
    a = cli("attribute", "-w", w, "--workers", 0)
    assert a.code == 0, a
    a = cli("cluster", "-w", w, "--k", "2,3", "--features", "pure", "--features", "activation-max")
    assert a.code == 0, a
    print(a.out)
    a = cli("render", "-w", w, "--neurons", "0,1")
    assert a.code == 0, a
    a = cli("info", "-w", w)
    print(a.out)
    assert a.code == 0, a
