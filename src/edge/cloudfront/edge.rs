//! The contract of an edge, kept with CloudFront.

use std::time::SystemTime;

use aws_sdk_cloudfront::types;

use super::answer::{PAGE_ITEMS, accepted, made, page};
use super::client::{CloudFront, LIST};
use super::clock::AnswerDate;
use super::error::{explain, unsent};
use crate::edge::{AcceptedInvalidation, Edge, EdgeError, InvalidationBatch, Made, Page, Scope};

const INVALIDATE: &str = "cloudfront:CreateInvalidation";
const READ: &str = "cloudfront:GetInvalidation";

impl Edge for CloudFront {
    async fn invalidate(
        &self,
        batch: &InvalidationBatch,
    ) -> Result<AcceptedInvalidation, EdgeError> {
        let Scope {
            distribution,
            tenant,
        } = &batch.scope;
        let request = types::Paths::builder()
            .quantity(i32::try_from(batch.paths.len()).unwrap_or(i32::MAX))
            .set_items(Some(batch.paths.clone()))
            .build()
            .and_then(|paths| {
                types::InvalidationBatch::builder()
                    .caller_reference(&batch.caller_reference)
                    .paths(paths)
                    .build()
            })
            .map_err(|error| unsent(distribution, &error))?;
        if let Some(tenant) = tenant {
            return self.invalidate_tenant(tenant, batch, request).await;
        }
        let output = self
            .once
            .create_invalidation()
            .distribution_id(&**distribution)
            .invalidation_batch(request)
            .send()
            .await
            .map_err(|error| explain(distribution, INVALIDATE, Some(batch), &error))?;
        accepted(batch, output.invalidation)
    }

    async fn list(&self, scope: &Scope, from: Option<String>) -> Result<Page, EdgeError> {
        let Scope {
            distribution,
            tenant,
        } = scope;
        if let Some(tenant) = tenant {
            return self.list_tenant(distribution, tenant, from).await;
        }
        let (date, asked_at) = (AnswerDate::default(), SystemTime::now());
        let output = self
            .once
            .list_invalidations()
            .distribution_id(&**distribution)
            .max_items(PAGE_ITEMS)
            .set_marker(from)
            .customize()
            .interceptor(date.clone())
            .send()
            .await
            .map_err(|error| explain(distribution, LIST, None, &error))?;
        let clock = date.difference(asked_at, SystemTime::now());
        page(distribution, output.invalidation_list, clock)
    }

    async fn read(&self, scope: &Scope, id: &str) -> Result<Made, EdgeError> {
        let Scope {
            distribution,
            tenant,
        } = scope;
        if let Some(tenant) = tenant {
            return self.read_tenant(distribution, tenant, id).await;
        }
        let output = self
            .once
            .get_invalidation()
            .distribution_id(&**distribution)
            .id(id)
            .send()
            .await
            .map_err(|error| explain(distribution, READ, None, &error))?;
        made(distribution, id, output.invalidation)
    }
}
