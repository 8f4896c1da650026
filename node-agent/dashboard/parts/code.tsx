import { useMemo } from 'preact/hooks';
import { type CodeNode, highlight } from '../highlight.ts';
import { blocksOf } from '../text.ts';
import { Scroll } from './scroll.tsx';

/** A text with the numbers of its lines, in colours where its language is known. */
export function Code({ path, text }: { path: string; text: string }) {
  const nodes = useMemo(() => highlight(path, text), [path, text]);
  const blocks = useMemo(() => blocksOf(text), [text]);
  if (nodes !== null && blocks.length > 0) {
    return (
      <Scroll label={path} kind="code">
        <pre class="numbers" aria-hidden="true">
          {text.split('\n').map((_, i) => `${i + 1}\n`)}
        </pre>
        <pre>
          <code>{nodes.map(toElement)}</code>
        </pre>
      </Scroll>
    );
  }
  return (
    <Scroll label={path} kind="code long">
      {blocks.map(({ rows, numbers, text: rowsOfText }, i) => (
        // What nobody sees is not laid out, and has its height all the same.
        <div key={i} class="block" style={{ containIntrinsicBlockSize: `${rows * 1.5}em` }}>
          <pre class="numbers" aria-hidden="true">
            {numbers}
          </pre>
          <pre>
            <code>{rowsOfText}</code>
          </pre>
        </div>
      ))}
    </Scroll>
  );
}

function toElement(node: CodeNode, key: number) {
  if (node.type === 'text') return node.value;
  if (node.type !== 'element') return null;
  const names = node.properties.className;
  return (
    <span key={key} class={Array.isArray(names) ? names.join(' ') : ''}>
      {node.children.map((child, i) => toElement(child as CodeNode, i))}
    </span>
  );
}
