<?php

declare(strict_types=1);

namespace Shop;

/** A row of `users`, as it was read. */
final class User
{
    public function __construct(
        public readonly int $id,
        /** Decimal text: BIGINT UNSIGNED does not fit into PHP's int. */
        public readonly string $version,
        public readonly ?string $name,
        public readonly ?string $slug,
    ) {
    }
}
