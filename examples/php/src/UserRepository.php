<?php

declare(strict_types=1);

namespace Shop;

use PDO;

/**
 * Users, read through the cache and written to the database.
 *
 * There is no line here that invalidates anything: evictd sees every commit in the binlog, those of other
 * programs and of `mysql` on a terminal included.
 */
final class UserRepository
{
    /** "There is no such user" is forgotten quickly: see docs/reading.md on ids that are used again. */
    private const ABSENT_TTL_MS = 5_000;

    public function __construct(
        private readonly PDO $db,
        private readonly GuardedCache $cache,
    ) {
    }

    /** The user, from the cache if it is there. */
    public function find(int $id): ?User
    {
        if ($this->db->inTransaction()) {
            // What is read here may be rolled back, or be older than what others see: neither read nor fill.
            return $this->load($id);
        }
        // The braces are Redis Cluster's hash tag: both keys are in one slot.
        [$guardKey, $entryKey] = ["user:{{$id}}:guard", "user:{{$id}}:profile"];
        // Before the row is read: what is known by now is a lower bound of what the row is.
        ['guard' => $guard, 'entry' => $entry] = $this->cache->get($guardKey, $entryKey);
        if ($entry !== null) {
            return self::decode($id, $entry);
        }
        $user = $this->load($id);
        if ($user === null) {
            // No row, no version: that of the guard, so that an INSERT in the meantime refuses this fill.
            $this->cache->fill($guardKey, $entryKey, $guard ?? '0', 'null', self::ABSENT_TTL_MS);
        } else {
            $this->cache->fill($guardKey, $entryKey, $user->version, self::encode($user));
        }

        return $user;
    }

    /** The user as the database has it now: for checkout, login and whatever must not be a moment old. */
    public function load(int $id): ?User
    {
        $statement = $this->db->prepare('SELECT CAST(version AS CHAR) AS version, name, slug FROM users WHERE id = ?');
        $statement->execute([$id]);
        $row = $statement->fetch(PDO::FETCH_ASSOC);

        return $row === false ? null : new User($id, $row['version'], $row['name'], $row['slug']);
    }

    /** Every UPDATE bumps the version, in the same statement. */
    public function rename(int $id, string $name): void
    {
        $statement = $this->db->prepare('UPDATE users SET name = ?, version = version + 1 WHERE id = ?');
        $statement->execute([$name, $id]);
    }

    private static function encode(User $user): string
    {
        return json_encode(
            ['version' => $user->version, 'name' => $user->name, 'slug' => $user->slug],
            JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE,
        );
    }

    private static function decode(int $id, string $entry): ?User
    {
        $row = json_decode($entry, true, flags: JSON_THROW_ON_ERROR);

        return $row === null ? null : new User($id, $row['version'], $row['name'], $row['slug']);
    }
}
