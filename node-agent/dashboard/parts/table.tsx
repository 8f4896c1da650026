import type { ComponentChildren } from 'preact';
import { Scroll } from './scroll.tsx';

/** The head of a column; `amount`: of numbers, `unseen`: for who hears the page alone. */
type Column = string | Readonly<{ title: string; kind: 'amount' | 'unseen' }>;

/** The column of buttons. */
export const ACTIONS: Column = { title: 'Actions', kind: 'unseen' };

export const amount = (title: string): Column => ({ title, kind: 'amount' });

/** A table that scrolls by itself where it is too wide. @property children its rows */
export function Table({
  label,
  columns,
  children,
}: {
  label: string;
  columns: readonly Column[];
  children: ComponentChildren;
}) {
  return (
    <Scroll label={label}>
      <table>
        <thead>
          <tr>{columns.map(headOf)}</tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </Scroll>
  );
}

function headOf(column: Column) {
  const { title, kind } = typeof column === 'string' ? { title: column, kind: null } : column;
  return (
    <th key={title} scope="col" class={kind === 'amount' ? kind : undefined}>
      {kind === 'unseen' ? <span class={kind}>{title}</span> : title}
    </th>
  );
}
