// Files that leave the page.

function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function fileName(name: string): string {
  return name.replace(/[^\w.@-]+/g, "_");
}

export function saveText(text: string, name: string, type: string): void {
  save(new Blob([text], { type: `${type};charset=utf-8` }), name);
}

export function saveSvg(svg: string, name: string): void {
  saveText(svg, `${fileName(name)}.svg`, "image/svg+xml");
}

const SHARPER = 2; // dots for each CSS pixel

/** An SVG drawn as PNG; everything in it is inlined, or the browser would not hand the pixels over. */
export async function savePng(svg: string, name: string): Promise<void> {
  const image = new Image();
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    await new Promise((done, fail) => {
      image.onload = done;
      image.onerror = () => fail(new Error("The browser could not draw the figure."));
      image.src = url;
    });
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth * SHARPER;
    canvas.height = image.naturalHeight * SHARPER;
    canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/png"));
    if (blob) save(blob, `${fileName(name)}.png`);
  } finally {
    URL.revokeObjectURL(url);
  }
}
