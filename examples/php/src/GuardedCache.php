<?php

declare(strict_types=1);

namespace Shop;

use Redis;
use RedisException;

/**
 * A cache entry for each row, and beside it a guard: the newest version known of that row.
 *
 * evictd raises the guard and deletes the entry after every commit. This class reads and fills, and deletes
 * nothing. A fill that took too long finds the guard above its version and is refused by the script.
 *
 * A cache that does not answer is a cache that has nothing: the application then reads the database.
 */
final class GuardedCache
{
    private readonly string $script;
    private readonly string $digest;

    /** @param string $scriptFile lua/fill.lua, as it is shipped with evictd */
    public function __construct(
        private readonly Redis $redis,
        string $scriptFile,
        private readonly int $entryTtlMs = 3_600_000,
        /** Longer than any fill can take, by far. */
        private readonly int $guardTtlMs = 86_400_000,
    ) {
        $script = file_get_contents($scriptFile);
        if ($script === false) {
            throw new \RuntimeException("cannot read $scriptFile");
        }
        $this->script = $script;
        $this->digest = sha1($script);
    }

    /**
     * The guard and the entry in one round trip; null for what is not there.
     *
     * @return array{guard: ?string, entry: ?string}
     */
    public function get(string $guardKey, string $entryKey): array
    {
        try {
            $found = $this->redis->mget([$guardKey, $entryKey]);
        } catch (RedisException $error) {
            error_log("cache: {$error->getMessage()}");
            $found = false;
        }
        [$guard, $entry] = is_array($found) ? $found : [false, false];

        return ['guard' => $guard === false ? null : $guard, 'entry' => $entry === false ? null : $entry];
    }

    /**
     * Stores the entry unless a version above $version is known; true if it was stored.
     *
     * @param string $version of the row that was read, as decimal text
     */
    public function fill(string $guardKey, string $entryKey, string $version, string $value, ?int $ttlMs = null): bool
    {
        $arguments = [$guardKey, $entryKey, $version, $value, $ttlMs ?? $this->entryTtlMs, $this->guardTtlMs];
        try {
            $this->redis->clearLastError();
            $reply = $this->redis->evalSha($this->digest, $arguments, 2);
            if ($reply === false && str_starts_with((string) $this->redis->getLastError(), 'NOSCRIPT')) {
                // The first fill since the server started; EVAL also loads the script.
                $this->redis->clearLastError();
                $reply = $this->redis->eval($this->script, $arguments, 2);
            }
            if ($reply === false) {
                error_log("cache: fill of $entryKey: {$this->redis->getLastError()}");
            }
        } catch (RedisException $error) {
            error_log("cache: fill of $entryKey: {$error->getMessage()}");
            $reply = false;
        }

        return $reply === 1;
    }
}
