<?php

/** `bin/user.php`, but between reading the row and filling it waits until a file is there. */

declare(strict_types=1);

require_once __DIR__ . '/../../../examples/php/bin/user.php';

final class HeldRedis extends Redis
{
    // Without types: phpredis 5 has none, and 6 allows leaving them out.
    public function evalSha($sha, $args = null, $num_keys = null): mixed
    {
        touch((string) getenv('HELD'));
        $give_up = microtime(true) + 60;
        while (!file_exists((string) getenv('RELEASE')) && microtime(true) < $give_up) {
            usleep(5_000);
            clearstatcache();
        }

        return parent::evalSha($sha, $args, $num_keys);
    }
}

exit(Shop\main(array_slice($argv, 1), new HeldRedis()));
