<?php

/**
 * php bin/user.php find ID
 * php bin/user.php rename ID NAME
 *
 * Where the servers are: SHOP_DSN, SHOP_DB_USER, SHOP_DB_PASSWORD, SHOP_REDIS_HOST, SHOP_REDIS_PORT.
 */

declare(strict_types=1);

namespace Shop;

foreach (['User', 'GuardedCache', 'UserRepository'] as $class) {
    require_once __DIR__ . "/../src/$class.php";
}

function setting(string $name, string $otherwise): string
{
    $value = getenv($name);

    return $value === false ? $otherwise : $value;
}

function repository(\Redis $redis): UserRepository
{
    $db = new \PDO(
        setting('SHOP_DSN', 'mysql:host=127.0.0.1;port=3306;dbname=shop'),
        setting('SHOP_DB_USER', 'shop'),
        setting('SHOP_DB_PASSWORD', ''),
        [\PDO::ATTR_ERRMODE => \PDO::ERRMODE_EXCEPTION, \PDO::ATTR_EMULATE_PREPARES => false],
    );
    try {
        $redis->connect(setting('SHOP_REDIS_HOST', '127.0.0.1'), (int) setting('SHOP_REDIS_PORT', '6379'), 1.0);
    } catch (\RedisException $error) {
        error_log("cache: {$error->getMessage()}");
    }

    return new UserRepository($db, new GuardedCache($redis, __DIR__ . '/../../../lua/fill.lua'));
}

/** @param list<string> $arguments */
function main(array $arguments, \Redis $redis): int
{
    $users = repository($redis);
    switch ([$arguments[0] ?? '', count($arguments)]) {
        case ['find', 2]:
            echo json_encode($users->find((int) $arguments[1]), JSON_THROW_ON_ERROR), "\n";
            return 0;
        case ['rename', 3]:
            $users->rename((int) $arguments[1], $arguments[2]);
            return 0;
        default:
            fwrite(STDERR, "usage: user.php find ID | rename ID NAME\n");
            return 2;
    }
}

if (realpath($_SERVER['SCRIPT_FILENAME']) === __FILE__) {
    exit(main(array_slice($argv, 1), new \Redis()));
}
