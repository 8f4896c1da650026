import { parseXml, type XmlElement } from '@rgrove/parse-xml';

/** An element of an answer of S3, by its names alone: a namespace is not looked at. */
export class Xml {
  readonly #element: XmlElement;

  private constructor(element: XmlElement) {
    this.#element = element;
  }

  /** @returns `null` where it is no XML, or has another root */
  static parse(text: string, root: string): Xml | null {
    try {
      const element = parseXml(text).root;
      return element?.name === root ? new Xml(element) : null;
    } catch {
      return null;
    }
  }

  /** The children of a name, in their order. */
  all(name: string): Xml[] {
    return this.#element.children.flatMap((child) =>
      child.type === 'element' && (child as XmlElement).name === name
        ? [new Xml(child as XmlElement)]
        : [],
    );
  }

  /** The text of the first child of a name; empty where there is none. */
  text(name: string): string {
    const [first] = this.all(name);
    return first === undefined ? '' : first.#element.text;
  }
}
